"""``python -m inferplan.kube``."""

from inferplan.kube.main import main

main()
