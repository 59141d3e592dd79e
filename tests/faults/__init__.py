"""The fault rig: whole installations under faults, and a checker that replays what happened.

    make faults N=200 SEED=7 FAULTS="F1 F9" DATABASE=postgresql

    worker -> Link (proxy.py: records, delays, cuts) -> server -> database
      |                    |                                          |
    stub child ------> History (history.py) -----> Evidence <---------+
                                                      |
                                                  checker.py: invariants I1-I10

`arena.py` is what a campaign is written with; `campaigns/` holds one function per fault.
"""
