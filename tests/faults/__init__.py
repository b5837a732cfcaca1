"""The fault campaign: each AWS call of a run of site.yml gets each fault, and the next run must recover."""
