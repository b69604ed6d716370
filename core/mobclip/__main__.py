"""`python -m mobclip`."""

from mobclip.cli import main

main()
