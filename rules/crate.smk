# Pack a finished run for others.


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
        code=fingerprint("crate/crate"),
        data=DATA,
    script:
        "../workflow_scripts/crate/crate.py"
