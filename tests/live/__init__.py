"""An acceptance run in a real AWS account: ``make live``.

It makes what it needs under names of its own, runs the playbooks with their example policies, checks what AWS then
answers, measures how long AWS takes, writes a report, and removes everything, whatever happened.
"""
