"""The open sockets of a process, and what keeps each of them whole."""
