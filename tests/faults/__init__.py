"""The fault campaign: at each wire call of a whole run, something goes wrong, and one more run must mend it."""
