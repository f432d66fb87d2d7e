"""What people tried, each case with a small input of its own and its right outcome."""
