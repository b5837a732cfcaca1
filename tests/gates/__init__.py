"""Checks of what is published: the tarball, installed where a user has it, under the programs of the ecosystem."""
