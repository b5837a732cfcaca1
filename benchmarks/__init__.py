"""The same jobs side by side: this collection, amazon.aws as its best user would write it, and bare boto3.

All sides work on the same emulator, which logs every call and its connection, and delays or throttles calls on demand:
``make bench``. The emulator is ministack: its calls cost a third of moto's, about a millisecond, and root's are not
checked against policies. Its own processor time is measured too, so that it can be told from that of the sides.
"""
