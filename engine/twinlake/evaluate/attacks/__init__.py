"""What attackers do with a twin: to rows trained on and, as the control, to rows never seen. Each answers with counts."""
