"""A message's life from the commit to its removal."""
