# Scores rows of numbers, one a line on standard input, each before it is learned, and
# writes one score a line. The first argument names the model.
import sys


def half_space_trees():
    from river import anomaly, preprocessing

    scaler = preprocessing.MinMaxScaler()  # half-space trees want values in [0, 1]
    trees = anomaly.HalfSpaceTrees(seed=1)  # the defaults: 10 trees of height 8, window 250

    def score(row):
        x = dict(enumerate(row))
        scaler.learn_one(x)
        x = scaler.transform_one(x)
        s = trees.score_one(x)
        trees.learn_one(x)
        return s

    return score


def robust_random_cut_forest():
    import numpy
    import rrcf

    numpy.random.seed(1)
    size = 256
    forest = [rrcf.RCTree(random_state=i) for i in range(20)]
    index = 0

    def score(row):
        nonlocal index
        total = 0.0
        for tree in forest:
            if len(tree.leaves) > size:
                tree.forget_point(index - size)
            tree.insert_point(row, index=index)
            total += tree.codisp(index)
        index += 1
        return total / len(forest)

    return score


models = {"river": half_space_trees, "rrcf": robust_random_cut_forest}
score = models[sys.argv[1]]()
if len(sys.argv) > 2:  # is it at hand?
    sys.exit(0)
for line in sys.stdin:
    print("%.9g" % score([float(v) for v in line.split()]))
