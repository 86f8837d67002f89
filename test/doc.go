// Package test holds what crosses packages: the contract between the state
// machine's definition and the function, the Terraform modules' own tests, and
// stories played against everything deployed on a local AWS.
package test
