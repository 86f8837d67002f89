// Package mutants shows that the simulation can fail: it breaks the policy and
// the store in one named place at a time, and each mutant must be killed by a
// scene or by random days.
package mutants
