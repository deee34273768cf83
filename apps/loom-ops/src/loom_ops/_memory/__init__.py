"""What earlier runs have found out."""
