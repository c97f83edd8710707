package raftstore_test

const childEnv = "RAFTSTORE_TEST_CHILD"

func childMain() {}
