from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.validate import go_mistake

# Patterns that Go 1.22 compiles.
ACCEPTED = [
    "",
    "abc",
    "^a.*$",
    "a|b",
    "|",
    "()",
    "(|a)",
    "(a)(b(c))",
    "(?:a)",
    "(?i)a",
    "a(?i)*",
    "a*(?i)*",
    "(?imsU)a",
    "(?i-s:a)",
    "(?-s)a",
    "(?)",
    "(?P<name>a)",
    "(?<name>a)",
    "a*",
    "a+?",
    "a??",
    "a{2}",
    "a{2,}",
    "a{0,1000}?",
    "a{1000}",
    "a{,5}",
    "a{01}",
    "{",
    "{a}",
    "{timestamp_format}",
    "}",
    "]",
    "^*",
    r"\b+",
    "é*",
    r"\d\D\s\S\w\W",
    r"\a\f\n\r\t\v",
    r"\A\b\B\z",
    r"\.\[\]\{\}\(\)\*\+\?\^\$\|\\\/\-\_\"",
    r"\0\01\012",
    r"\12\777",
    r"\x41\x{41}",
    r"\pL\PL\p{Greek}\P{^Han}",
    r"\Q(a*\E",
    r"\Q(a*",
    r"\Q\E*?",
    "[a]",
    "[]a]",
    "[^]a]",
    "[a-z-]",
    "[(*+?|]",
    "[[:alpha:][:^digit:]]",
    "[[a]",
    r"[\]\\]",
    r"[\d\-\n\x41]",
    "[\n]",
    "a\nb",
]
REFUSED = [
    ("(?=a)", "Go has no lookahead, '(?='"),
    ("a(?!b)", "Go has no lookahead, '(?!'"),
    ("^(?!NVRM:)", "Go has no lookahead, '(?!'"),
    ("(?<=a)", "Go has no lookbehind, '(?<='"),
    ("(?<!a)", "Go has no lookbehind, '(?<!'"),
    ("(?>a)", "Go has no atomic groups, '(?>'"),
    ("(?|a)", "Go has no branch reset groups, '(?|'"),
    ("(?#a)", "Go has no comments, '(?#'"),
    ("(a)(?(1)b)", "Go has no conditions, '(?('"),
    ("(?&a)", "Go has no recursion, '(?&'"),
    ("(?R)", "Go has no recursion, '(?R'"),
    ("(?P>a)", "Go has no recursion, '(?P>'"),
    ("(?P<a>b)(?P=a)", "Go has no backreferences, '(?P='"),
    ("(?x)a", "Go has no groups that begin with '(?x'"),
    ("ab(?x)c", "Go has no groups that begin with '(?x'"),
    ("(?'a'b)", 'Go has no groups that begin with "(?\'"'),
    ("(?i", "Go has no groups that begin with '(?i'"),
    ("(?i-)a", "Go has no groups that begin with '(?i'"),
    ("(?<a-b>c)", "Go has no groups that begin with '(?<'"),
    ("(?", "Go has no groups that begin with '(?'"),
    (r"(a)\1", r"Go has no backreferences, '\\1'"),
    (r"(a)\18", r"Go has no backreferences, '\\1'"),
    (r"\9", r"Go has no backreferences, '\\9'"),
    (r"\g{1}", r"Go has no backreferences, '\\g'"),
    (r"\k<a>", r"Go has no backreferences, '\\k'"),
    (r"a\Z", r"Go has no escape sequence '\\Z'"),
    (r"\h", r"Go has no escape sequence '\\h'"),
    (r"\K", r"Go has no escape sequence '\\K'"),
    (r"\G", r"Go has no escape sequence '\\G'"),
    (r"\R", r"Go has no escape sequence '\\R'"),
    (r"\C", r"Go has no escape sequence '\\C'"),
    (r"\é", r"Go has no escape sequence '\\é'"),
    ("\\\u0080", r"Go has no escape sequence '\\\x80'"),
    (r"\E", r"Go has no escape sequence '\\E'"),
    (r"\x4", r"Go has no escape sequence '\\x'"),
    (r"\x{}", r"Go has no escape sequence '\\x'"),
    (r"\p{Greek", r"Go has no escape sequence '\\p'"),
    (r"[\b]", r"Go has no escape sequence '\\b'"),
    (r"[a\Q]", r"Go has no escape sequence '\\Q'"),
    (r"[\d\h]", r"Go has no escape sequence '\\h'"),
    ("a\\", "there is a backslash at the end"),
    *(
        (pattern, f"Go has no operator '{second}' after another one, such as possessive quantifiers")
        for pattern, second in (
            *(("a*+", "+"), ("a++", "+"), ("a?+", "+"), ("a{2}+", "+"), ("a**", "*"), ("a*??", "?")),
            ("a*{" + "1" * 99 + "}", "{11111111111"),
        )
    ),
    *(
        (pattern, "there is nothing before '*' that it could repeat")
        for pattern in ("*", "*.log", "(*a)", "a|*", "(?i)*")
    ),
    ("(?:+a)", "there is nothing before '+' that it could repeat"),
    *(
        (pattern, "Go repeats from 0 to 1000 times, and the second number cannot be the lower one")
        for pattern in ("a{1001}", "a{1,1001}", "a{1001,}", "a{2,1}", "a{2,0}", "a{" + "9" * 5000 + "}")
    ),
    *((pattern, "a ')' is missing for a '('") for pattern in ("(a", "(a(b)", "(?:a", "(?<n>a")),
    *((pattern, "a '(' is missing for a ')'") for pattern in ("a)", ")(", "(?i))")),
    *((pattern, "a ']' is missing for a '['") for pattern in ("[a", "[]", "[^]", "[[:alpha:]", "[\\]")),
]


def test_a_pattern_that_go_accepts_has_no_mistake():
    assert {pattern: go_mistake(pattern) for pattern in ACCEPTED} == dict.fromkeys(ACCEPTED, "")


def test_a_pattern_that_go_refuses_has_a_mistake():
    assert {pattern: go_mistake(pattern) for pattern, _mistake in REFUSED} == dict(REFUSED)


@given(st.lists(st.sampled_from(ACCEPTED)).map("a".join))
def test_accepted_expressions_that_end_are_accepted_one_after_another(pattern):
    # All that follows an open \Q is a text.
    assert go_mistake(pattern) == ""


@given(st.text(alphabet=r"ab(?<!=>:|)[]^-*+{1,}\dQEZ$'#é") | st.text())
def test_any_text_has_a_mistake_of_at_most_one_short_line_or_none(pattern):
    mistake = go_mistake(pattern)
    assert len(mistake) <= 100
    assert mistake.isprintable()
