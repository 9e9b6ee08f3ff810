"""What a run would do, before it does it: which cases, what they lack, what they cost."""
