"""Publishing: from texts as feeds report them to versions of the policy, fair to every namespace.

Must not know: where texts come from, or who reads the policy.
"""
