"""What people did with files, settings and machines of their own, each case with its right outcome."""
