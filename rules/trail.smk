# What a run leaves behind to be checked.


def outside(wildcards):
    """What jobs read outside the working directory: of it, records hold the name alone."""
    return [
        LABEL_TABLE,
        *(f"{NIH_DIR}/{name}.tar.gz" for name in ARCHIVES if KIND == "nih" and NIH_DIR),
        *(
            config["split"][name]
            for name in ("train_val_list", "test_list")
            if OFFICIAL
        ),
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
        code=fingerprint("trail/audit"),
        elsewhere=outside,
    script:
        "../workflow_scripts/trail/audit.py"


# As the audit: it always runs when it is asked for, once all that the configuration asks for is made.
rule crate:
    input:
        page=rules.render_report.output.page,
        others=[
            rules.compare_models.output if PAIRS else [],
            expand(
                rules.export_model.output,
                model=filter(samplers_of, config["models"]),
            ),
            expand(rules.make_reader_study.output, readers=READERS),
        ],
    log:
        f"{DATA}/logs/crate.log",
    localrule: True
    threads: 4
    params:
        config=canonical(**config),
        code=fingerprint("trail/crate"),
        data=DATA,
    script:
        "../workflow_scripts/trail/crate.py"
