// Package sim runs the deployed definition, handler, policy and store for whole
// days of virtual time, against a world that knows the truth about its machines.
// Everything is in its tests: scenes are scripts in testdata/scenes, random days
// come from a seed that reproduces them, and named mutants of the policy and the
// store show that both can fail.
package sim
