"""Tables whose truth is known by construction, and whole studies of them."""
