"""What is trained inside or in front of the backbone."""
