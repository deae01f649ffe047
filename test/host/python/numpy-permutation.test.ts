import { expect, test } from "vitest";
import { permutation } from "../../../lib/host/python/numpy-permutation.js";

test("permutation() is numpy.random.default_rng(seed).permutation(length)", () => {
  // NumPy 2.4.6
  expect([...permutation(10, 2357)]).toEqual([8, 3, 0, 9, 5, 6, 2, 7, 4, 1]);
  expect([...permutation(7, 0)]).toEqual([2, 4, 3, 6, 5, 0, 1]);
  expect([...permutation(5, 2 ** 40 + 7)]).toEqual([3, 4, 1, 0, 2]);
  expect([...permutation(23, 2357)]).toEqual([
    20, 18, 1, 21, 3, 9, 6, 13, 11, 0, 10, 7, 5, 8, 12, 15, 16, 22, 19, 2, 4, 14, 17,
  ]);
  expect([...permutation(1, 5)]).toEqual([0]);
  expect(permutation(0, 5)).toHaveLength(0);
});
