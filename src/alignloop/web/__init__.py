"""What both web apps share: passwords, who may ask for what, headers, limits, and texts as safe HTML. Torch-free."""
