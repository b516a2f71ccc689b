"""The open connections of a process, and the tasks that keep them up to date."""
