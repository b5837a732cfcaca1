"""Changes the pure files in small ways, one at a time, and finds the changes that no unit test notices."""
