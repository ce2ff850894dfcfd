"""What a running load balancer does: its farms, their backends, and who is served by whom.

    table, open → survey.survey → model.Snapshot → text, document (JSON), metrics, verdict

``look`` reads the kernel; everything else here is a function from one value to the next.
"""
