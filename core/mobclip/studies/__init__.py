"""Studies of a place, file to file: evaluation, ablations, scaling laws, transfer."""
