"""Labels of points: none lies on another, on a point, or outside of the chart."""

from itertools import combinations

from sweep.report.charts.labels import LETTER_PIXELS, LINE_PIXELS, WIDTHS, place_labels

HEIGHT = 300.0


def test_labels_of_points_that_lie_together_are_put_apart_and_inside() -> None:
    points = [(0.0, 0.0), (0.01, 0.01), (0.02, 0.0), (1.0, 1.0), (1.0, 0.99), (0.5, 0.5)]
    labels = ["one", "two", "three", "four", "five", "six"]
    offsets = place_labels(points, labels, (0, 1), (0, 1), HEIGHT)
    for width in WIDTHS:
        boxes = []
        for (x, y), label, offset in zip(points, labels, offsets, strict=True):
            middle = (x * width + offset.dx, (1 - y) * HEIGHT + offset.dy)
            half = (LETTER_PIXELS * len(label) / 2, LINE_PIXELS / 2)
            boxes.append((middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]))
        for one, other in combinations(boxes, 2):
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1], width
        assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= HEIGHT for box in boxes)


def test_one_point_and_no_point_and_equal_points_have_labels_too() -> None:
    assert place_labels([], [], (0, 0), (0, 0), HEIGHT) == []
    assert len(place_labels([(3.0, 3.0)], ["1"], (3, 3), (3, 3), HEIGHT)) == 1
    first, second = place_labels([(1.0, 1.0)] * 2, ["1", "2"], (0, 2), (0, 2), HEIGHT)
    assert first != second
