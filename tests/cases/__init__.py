"""What people do, as small inputs, and the right outcome of each."""
