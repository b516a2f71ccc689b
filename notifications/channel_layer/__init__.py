"""What goes over the channel layer, sent without anybody waiting for it."""
