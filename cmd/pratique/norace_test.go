//go:build !race

package main_test

// raceEnabled makes the program under test look for races too.
const raceEnabled = false
