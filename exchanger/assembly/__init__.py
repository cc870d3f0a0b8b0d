"""Assembly: from documents as they change to versions of the policy, fair to every namespace.

Must not know: where documents come from, or who reads the policy.
"""
