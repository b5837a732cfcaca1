"""Checks of the tarball: installed as by a user, and run by the tools of the Ansible ecosystem."""
