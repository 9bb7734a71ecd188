# make image: the container image, from the programs that are built here and the libraries of this machine.

IMAGE_PACKAGES := python3 binutils libc-bin ca-certificates

.PHONY: image
image: deps ## the container image as build/image/egret-oci.tar and egret-docker.tar, its digest and its SBOM
	$(call install,$(IMAGE_PACKAGES))
	@$(MAKE) --no-print-directory all
	$(PYTHON) -B image/build.py --version $(VERSION) --etc etc --out $(BUILD)/image \
		--revision $(or $(REVISION),$(shell git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null),unknown) \
		--date $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0) \
		$(BUILD)/egretd $(BUILD)/egretctl
