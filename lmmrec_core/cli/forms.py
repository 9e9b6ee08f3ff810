"""The forms of files that commands read, for their ``--help``."""

CHECK_TABLE_FORM = """\
the form of the file, a CSV with one printed number a line:
  model,dataset,system,metric,value,star
  VBPR,baby,baseline,recall@10,0.0479,
  VBPR,baby,CLIP,recall@10,0.0487,*
or with one system a line, as most tables are printed:
  model,dataset,R@10,R@20,N@10,N@20        or    model,Baby R@10,Baby R@20,Sports R@10,Sports R@20
  VBPR,baby,0.0479,0.0740,0.0262,0.0329          VBPR,0.0479,0.0740,0.0509,-
  system  which of a model's rows (optional; empty if it has one)
  metric  name@cutoff: recall, ndcg, hit, mrr; R@10, N@10 and HR@10 are read too; others are read and not checked
  value   a share between 0 and 1, with the digits as printed: rounding is judged by them; a dash is no number
  star    1 or * for a significance star (optional); in a wide table behind the number, 0.0487*

"impossible" is what no ranking gives, rounding allowed. It makes the exit status 1, as does a file that cannot be read.
Recall is hits / held-out items, NDCG has gains of 0 or 1 and the usual ideal. Some relations hold only if no user has
more held-out items than the smaller cutoff; what breaks them is a question, and impossible with --held-out few.
Everything else that is printed is a question to the authors. Rows are called repeated or alike if chance hardly makes
them so, going by how far apart the other rows are. The published band comes from figures with a public source, for
baselines on Amazon Baby (dataset "baby"), Sports ("sports") and Clothing ("clothing").
"""
