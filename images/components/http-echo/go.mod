module github.com/skiff-k8s/skiff/images/components/http-echo

go 1.26.0
