"""The operator's grants: what each namespace may do, and how they restrict documents."""
