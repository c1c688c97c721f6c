// How OHIF finds this server: everything on the same origin, under whatever path a proxy gave us.
(function () {
  const root = window.PUBLIC_URL.replace(/viewer\/$/, "");
  const dicomweb = root + "dicomweb";
  window.config = {
    name: "hutong",
    routerBasename: window.PUBLIC_URL.replace(/\/$/, ""),
    extensions: [],
    modes: [],
    customizationService: {},
    showStudyList: true,
    maxNumberOfWebWorkers: 3,
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: true,
    showLoadingIndicator: true,
    strictZSpacingForVolumeViewport: true,
    showErrorDetails: "dev",
    investigationalUseDialog: { option: "always" },
    maxNumRequests: { interaction: 100, thumbnail: 20, prefetch: 10 },
    defaultDataSourceName: "hutong",
    dataSources: [
      {
        namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
        sourceName: "hutong",
        configuration: {
          friendlyName: "Hutong",
          name: "hutong",
          wadoUriRoot: root + "wado",
          qidoRoot: dicomweb,
          wadoRoot: dicomweb,
          qidoSupportsIncludeField: true,
          imageRendering: "wadors",
          thumbnailRendering: "wadors",
          enableStudyLazyLoad: true,
          supportsFuzzyMatching: true,
          supportsWildcard: true,
          supportsReject: false,
          dicomUploadEnabled: false,
          omitQuotationForMultipartRequest: true,
          singlepart: "bulkdata,video,pdf",
          bulkDataURI: { enabled: true },
        },
      },
    ],
  };
})();
