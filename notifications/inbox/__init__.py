"""An account's inbox: its pages, its changes, and marking its items."""
