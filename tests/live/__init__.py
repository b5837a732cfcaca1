"""An acceptance run in a real AWS account: ``make live``.

It creates everything that it needs under its own names, runs the playbooks with their example policies, and checks what
AWS then answers. It measures how long AWS takes, writes a report, and removes everything, whatever happened.
"""
