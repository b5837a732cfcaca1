"""``make bench``: compares this collection with efficient use of amazon.aws and with plain boto3 in the same jobs.

All sides use the same emulator, which logs every call and its connection, and delays or throttles calls on demand. The
emulator is ministack: its calls take about a millisecond, a third of moto's, and it does not check root's calls against
policies. The processor time of the emulator is measured separately.
"""
