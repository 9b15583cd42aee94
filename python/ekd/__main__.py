"""``python -m ekd`` is the program ``ekd``."""

from ekd.cli import main

main()
