"""What our code is measured beside, written by hand."""
