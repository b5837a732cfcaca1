"""The life of an installation in an account that is as unkind as AWS."""
