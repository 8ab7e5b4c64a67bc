"""The documentation site: ``python -m tools.docs build``, ``python -m tools.docs run PAGE``.

================  =====================================================================
``build.py``      assemble the site's pages and build them, strictly
``sources.py``    the pages of docs/ and spec/ in one folder, their links mended
``reference.py``  pages made of docstrings and of the command line's help
``codes.py``      the page of errors and reason codes, out of the spec's table
``curve.py``      pictures drawn from the tables of docs/measured
``llms.py``       llms.txt: what each page is about, a line each
``blocks.py``     the code blocks of a page, run one after another
``run.py``        run one page whole, in an empty folder
================  =====================================================================

The site is made of text that lies here: nothing is fetched, neither when it is built nor when it
is read.
"""
