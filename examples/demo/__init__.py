"""What inferplan does, shown on a real control plane: ``make demo``, or ``python -m examples.demo [--keep]``.

Nothing of this is part of the package. The control plane is the one of the tests (:mod:`tests.controlplane`): a real
API server, scheduler and controllers as plain processes, with GPU nodes that kwok plays.
"""
