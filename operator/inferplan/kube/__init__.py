"""The operator: the only package that speaks to a cluster.

What it does, in the order in which a change travels:

::

    reflector, handlers   see that something changed            -> world
    inbox                 says which scenario to look at next
    inventory, prices     world -> what planning sees           (claims: two scenarios never plan on one GPU)
    allowed               what a scenario may ask for is the administrator's to say
    planning, standing    scenario + inventory -> plan          (in a thread; held plans stay)
    choice, conditions    plan + children -> status             (pure; trouble: why pods do not come)
    pod_template, work    plan + children -> what to do         (what runs keeps its template; contested: no fights)
    apply                 what to do -> cluster                 (server-side apply, one field manager)

Permissions
-----------
Exactly these, and no Secret. ``n`` stands for the namespaces of ``--namespace``, or for the whole cluster.

==========================================  ===========================================  ==========
Resource                                    Verbs                                        Where
==========================================  ===========================================  ==========
nodes, pods                                 list, watch                                  cluster
nodepools, nodeoverlays (karpenter.sh)      list                                         cluster
inferencescenarios (inferplan.dev)          list, watch                                  n
inferencescenarios/status                   patch                                        n
deployments (apps)                          get, list, watch, create, patch, delete      n
jobs, cronjobs (batch)                      get, list, watch, create, patch, delete      n
services                                    get, list, watch, create, patch, delete      n
poddisruptionbudgets (policy)               get, list, watch, create, patch, delete      n
events                                      create, patch                                n
leases (coordination.k8s.io)                create; get, update of its own               its own
configmaps                                  get of the price book                        its own
==========================================  ===========================================  ==========

Annotations on a scenario
-------------------------
``inferplan.dev/approved-plan``
    Hash of the plan that may be applied (``deploy.policy: Manual``, or a plan on GPUs that the cluster lacks).
``inferplan.dev/paused``
    ``"true"`` leaves the scenario and what runs for it alone.
``inferplan.dev/requestedAt``
    Any new value asks for planning anew; echoed in ``status.lastHandledReconcileAt``.
"""
