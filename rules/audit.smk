# Prove a finished run anew, and say on one page what holds.


def outside(wildcards):
    """What jobs read outside the working directory: of it, records hold the name alone."""
    return [
        LABEL_TABLE,
        *(f"{NIH_DIR}/{name}.tar.gz" for name in ARCHIVES if KIND == "nih" and NIH_DIR),
        *SPLIT_LISTS.values(),
        *DATA_FILES,
        *(
            path
            for name in READERS
            for path in responses(SimpleNamespace(readers=name))
        ),
    ]


# Neither inputs nor outputs: it always runs when it is asked for, and makes nothing else run. A
# benchmark would count as an output.
rule audit:
    log:
        f"{DATA}/logs/audit.log",
    localrule: True
    threads: 4
    params:
        config=canonical(),
        code=fingerprint("audit/audit"),
        elsewhere=outside,
    script:
        "../workflow_scripts/audit/audit.py"
