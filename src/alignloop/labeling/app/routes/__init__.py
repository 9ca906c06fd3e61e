"""What answers at each address, by whose page it is."""
